-- Several sets of distinct values beside each other.
CREATE TABLE distinct_counts (channel VARCHAR, auctions BIGINT, bidders BIGINT, dear BIGINT, n BIGINT) WITH (${sink});

INSERT INTO distinct_counts
SELECT channel, count(DISTINCT auction), count(DISTINCT bidder),
    count(DISTINCT bidder) FILTER (WHERE price > 1000), count(*)
FROM bid GROUP BY channel;
