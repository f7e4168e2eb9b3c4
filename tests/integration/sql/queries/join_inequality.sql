-- A table with the mean of itself, which changes.
CREATE TABLE join_inequality (category BIGINT, id BIGINT) WITH (${sink});

INSERT INTO join_inequality
SELECT C.category, A.id
FROM auction A JOIN (SELECT category, avg(initialBid) AS mean FROM auction GROUP BY category) C
    ON A.category = C.category AND A.initialBid > 2 * C.mean;
