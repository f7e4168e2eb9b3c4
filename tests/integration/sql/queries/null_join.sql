-- NULL meets nothing, not even NULL; in an outer join its row comes alone.
CREATE TABLE null_join (a BIGINT, b BIGINT, seller BIGINT)
WITH (${sink});

INSERT INTO null_join
SELECT a.id, p.id, a.seller
FROM (SELECT id, seller, NULLIF(seller, 1001) AS one FROM auction) AS a
LEFT JOIN (SELECT id, NULLIF(NULLIF(id, 1001), 1003) AS one FROM person) AS p ON a.one = p.one;
