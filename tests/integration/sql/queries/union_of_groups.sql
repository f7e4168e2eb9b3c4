-- Groups of what changes, from two sides.
CREATE TABLE union_of_groups (k BIGINT, n BIGINT) WITH (${sink});

INSERT INTO union_of_groups
SELECT k, sum(n) FROM (
    SELECT seller AS k, count(*) AS n FROM auction GROUP BY seller
    UNION ALL SELECT bidder, count(*) FROM bid GROUP BY bidder) GROUP BY k;
