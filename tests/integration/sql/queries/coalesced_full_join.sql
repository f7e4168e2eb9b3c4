-- What is on one side only gets what stands for nothing.
CREATE TABLE coalesced_full_join (k BIGINT, a BIGINT, b BIGINT) WITH (${sink});

INSERT INTO coalesced_full_join
SELECT coalesce(X.k, Y.k), coalesce(X.n, 0), coalesce(Y.n, -1)
FROM (SELECT bidder % 50 AS k, count(*) AS n FROM bid WHERE price > 5000 GROUP BY bidder % 50) X
FULL JOIN (SELECT seller % 70 AS k, count(*) AS n FROM auction GROUP BY seller % 70) Y ON X.k = Y.k;
