-- Groups of the rows that share the first rank: what leaves it leaves its group, which may become empty.
CREATE TABLE rank_groups (bidders BIGINT, price BIGINT, auctions BIGINT) WITH (${sink});

INSERT INTO rank_groups
SELECT bidder % 10, max(price), count(DISTINCT auction) FROM (
    SELECT auction, bidder, price, RANK() OVER (PARTITION BY auction ORDER BY price DESC) AS r FROM bid) AS ranked
WHERE r = 1
GROUP BY bidder % 10;
