-- Distinct values so far, and sums of some.
CREATE TABLE over_distinct (auction BIGINT, price BIGINT, bidders BIGINT, dear BIGINT) WITH (${sink});

INSERT INTO over_distinct
SELECT auction, price, count(DISTINCT bidder) OVER w, sum(price) FILTER (WHERE price > 500) OVER w
FROM bid
WINDOW w AS (PARTITION BY auction % 10 ORDER BY `dateTime`);
