CREATE TABLE extremes_of_changes (most BIGINT, least BIGINT, total BIGINT) WITH (${sink});

INSERT INTO extremes_of_changes
SELECT max(n) AS most, min(n) AS least, sum(n) AS total
FROM (SELECT auction, count(*) AS n FROM bid GROUP BY auction) AS counts;
