-- The column that both have comes once, and first.
CREATE TABLE using_join (auction BIGINT, price BIGINT, channel VARCHAR, itemName VARCHAR) WITH (${sink});

INSERT INTO using_join
SELECT *
FROM (SELECT price, auction, channel FROM bid) B
JOIN (SELECT itemName, id AS auction FROM auction) A USING (auction)
WHERE price > 50000000;
