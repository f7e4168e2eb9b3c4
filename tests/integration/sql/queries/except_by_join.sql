-- What is in one set of groups and not in another.
CREATE TABLE except_by_join (k BIGINT) WITH (${sink});

INSERT INTO except_by_join
SELECT X.k FROM (SELECT DISTINCT bidder % 200 AS k FROM bid) X
LEFT JOIN (SELECT DISTINCT seller % 200 AS k FROM auction) Y ON X.k = Y.k
WHERE Y.k IS NULL;
