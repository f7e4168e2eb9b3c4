-- The first two of each category by what an outer join may leave NULL, which comes last.
CREATE TABLE top_of_left_join (category BIGINT, id BIGINT, best BIGINT, rn BIGINT) WITH (${sink});

INSERT INTO top_of_left_join
SELECT category, id, best, rn FROM (
    SELECT A.category, A.id, B.best,
        ROW_NUMBER() OVER (PARTITION BY A.category ORDER BY B.best NULLS LAST, A.id) AS rn
    FROM auction A
    LEFT JOIN (SELECT auction, max(price) AS best FROM bid GROUP BY auction) B ON B.auction = A.id) AS ranked
WHERE rn <= 2;
