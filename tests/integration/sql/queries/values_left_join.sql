-- Names for numbers; one of them is not there.
CREATE TABLE values_left_join (auction BIGINT, name VARCHAR) WITH (${sink});

INSERT INTO values_left_join
SELECT B.auction, V.name
FROM bid B LEFT JOIN (VALUES (0, 'none'), (1, 'one')) AS V (k, name) ON B.auction % 3 = V.k
WHERE B.price > 1000;
