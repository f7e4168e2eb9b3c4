-- Groups that change: their elements are taken back with them, also when there are fewer or more.
CREATE TABLE unnest_changes (n BIGINT, groups BIGINT) WITH (${sink});

INSERT INTO unnest_changes
SELECT n, count(*) FROM (
    SELECT auction, SPLIT(CAST(count(*) AS STRING), '') AS digits, count(*) AS bids, max(price) AS most
    FROM bid GROUP BY auction)
CROSS JOIN UNNEST(ARRAY_APPEND(ARRAY[bids, CAST(CARDINALITY(digits) AS BIGINT)], most % 10)) AS t (n)
GROUP BY n;
