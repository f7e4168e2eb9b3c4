CREATE TABLE groups_of_groups (n BIGINT, bidders BIGINT) WITH (${sink});

INSERT INTO groups_of_groups
SELECT n, count(*) AS bidders
FROM (SELECT bidder, count(*) AS n FROM bid GROUP BY bidder) AS counts
GROUP BY n;
