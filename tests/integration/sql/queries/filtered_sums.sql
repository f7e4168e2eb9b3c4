CREATE TABLE filtered_sums (channel VARCHAR, cheap BIGINT, dear BIGINT, evens BIGINT) WITH (${sink});

INSERT INTO filtered_sums
SELECT channel, count(*) FILTER (WHERE price < 1000), sum(price) FILTER (WHERE price > 100000),
    sum(bidder) FILTER (WHERE MOD(bidder, 2) = 0)
FROM bid GROUP BY channel HAVING count(*) > 1;
