-- The two highest numbers of bids, and everybody who has them: groups whose rank changes.
CREATE TABLE dense_rank_of_groups (bidder BIGINT, n BIGINT, r BIGINT) WITH (${sink});

INSERT INTO dense_rank_of_groups
SELECT bidder, n, r FROM (
    SELECT bidder, n, DENSE_RANK() OVER (ORDER BY n DESC) AS r FROM (
        SELECT bidder, count(*) / 4 AS n FROM bid WHERE price > 2000 GROUP BY bidder))
WHERE r < 3;
