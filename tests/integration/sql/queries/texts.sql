CREATE TABLE texts (id BIGINT, changed VARCHAR, code VARCHAR, digest VARCHAR, at BIGINT) WITH (${sink});

INSERT INTO texts
SELECT id, TRANSLATE(name, 'aeiou ', '43105'), BIN(id), MD5(city), INSTR(emailAddress, '@')
FROM person WHERE STARTS_WITH(state, 'C');
