-- Aggregates of different values.
CREATE TABLE distinct_sums (channel VARCHAR, a BIGINT, b BIGINT, c BIGINT) WITH (${sink});

INSERT INTO distinct_sums
SELECT channel, sum(DISTINCT price % 100), count(DISTINCT bidder), max(DISTINCT price)
FROM bid GROUP BY channel HAVING count(*) < 20;
