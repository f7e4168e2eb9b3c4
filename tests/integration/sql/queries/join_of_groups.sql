CREATE TABLE join_of_groups (category BIGINT, auctions BIGINT, bids BIGINT) WITH (${sink});

INSERT INTO join_of_groups
SELECT A.category, A.n, B.n
FROM (SELECT category, count(*) AS n FROM auction GROUP BY category) A
LEFT JOIN (SELECT 10 + MOD(bidder, 7) AS category, count(*) AS n FROM bid GROUP BY 10 + MOD(bidder, 7)) B
    ON A.category = B.category;
