-- The first three of counts that change.
CREATE TABLE top_of_groups (category BIGINT, seller BIGINT, n BIGINT) WITH (${sink});

INSERT INTO top_of_groups
SELECT category, seller, n FROM (
    SELECT category, seller, n, ROW_NUMBER() OVER (PARTITION BY category ORDER BY n DESC, seller) AS r FROM (
        SELECT category, seller, count(*) AS n FROM auction GROUP BY category, seller))
WHERE r <= 3;
