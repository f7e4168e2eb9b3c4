-- What is computed of an aggregate of no rows, and with columns of the query around it.
CREATE TABLE scalar_empty (id BIGINT, n BIGINT, dearest BIGINT, more BIGINT, has VARCHAR) WITH (${sink});

INSERT INTO scalar_empty
SELECT A.id, (SELECT count(*) + 1 FROM bid B WHERE B.auction = A.id AND B.price > 1000000),
    (SELECT coalesce(max(B.price), -1) FROM bid B WHERE B.auction = A.id AND B.price > 1000000),
    (SELECT max(B.price) - A.initialBid FROM bid B WHERE B.auction = A.id),
    (SELECT CASE WHEN count(*) = 0 THEN 'none' WHEN min(B.price) < A.initialBid THEN 'less' ELSE 'more' END
        FROM bid B WHERE B.auction = A.id)
FROM auction A;
