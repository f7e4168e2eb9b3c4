CREATE TABLE distinct_rows (channel VARCHAR, category BIGINT) WITH (${sink});

INSERT INTO distinct_rows
SELECT DISTINCT B.channel, A.category
FROM bid B JOIN auction A ON B.auction = A.id;
