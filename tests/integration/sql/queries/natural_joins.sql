CREATE TABLE natural_joins (id BIGINT, category BIGINT, name VARCHAR, price BIGINT) WITH (${sink});

INSERT INTO natural_joins
SELECT *
FROM (SELECT category, seller AS id FROM auction) A
NATURAL JOIN (SELECT name, id FROM person) P
NATURAL LEFT JOIN (SELECT max(price) AS price, bidder AS id FROM bid GROUP BY bidder) B;
