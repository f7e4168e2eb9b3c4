-- The ten dearest auctions so far.
CREATE TABLE first_n (auction BIGINT, price BIGINT) WITH (${sink});

INSERT INTO first_n
SELECT auction, max(price) AS price FROM bid GROUP BY auction
ORDER BY price DESC, auction LIMIT 10;
