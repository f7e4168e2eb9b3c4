CREATE TABLE first_rows (auction BIGINT, price BIGINT) WITH (${sink});

INSERT INTO first_rows
SELECT auction, price FROM bid ORDER BY price DESC, auction LIMIT 5;
