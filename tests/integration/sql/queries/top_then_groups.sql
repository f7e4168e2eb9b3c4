-- The dearest of every channel, grouped by their auction.
CREATE TABLE top_then_groups (auction BIGINT, n BIGINT, total BIGINT) WITH (${sink});

INSERT INTO top_then_groups
SELECT auction % 20, count(*), sum(price) FROM (
    SELECT auction, price, ROW_NUMBER() OVER (PARTITION BY channel ORDER BY price DESC, auction) AS rn
    FROM bid)
WHERE rn <= 5
GROUP BY auction % 20;
