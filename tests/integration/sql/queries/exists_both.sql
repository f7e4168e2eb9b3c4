CREATE TABLE exists_both (id BIGINT) WITH (${sink});

INSERT INTO exists_both
SELECT P.id
FROM person P
WHERE EXISTS (SELECT 1 FROM auction A WHERE A.seller = P.id)
    AND NOT EXISTS (SELECT 1 FROM bid B WHERE B.bidder = P.id AND B.price > 1000000);
