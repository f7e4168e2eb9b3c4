-- Aggregates of rows that know those before them.
CREATE TABLE over_then_groups (kind BIGINT, n BIGINT, most BIGINT) WITH (${sink});

INSERT INTO over_then_groups
SELECT auction % 5, count(*), max(grown) FROM (
    SELECT auction, price - LAG(price) OVER (PARTITION BY auction ORDER BY `dateTime`) AS grown FROM bid)
WHERE grown > 0
GROUP BY auction % 5;
