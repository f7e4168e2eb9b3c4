-- Subqueries that are values: one for all, and one per row.
CREATE TABLE scalar (id BIGINT, initial BIGINT, bids BIGINT, dearest BIGINT) WITH (${sink});

INSERT INTO scalar
SELECT A.id, A.initialBid - (SELECT min(price) FROM bid),
    (SELECT count(*) FROM bid B WHERE B.auction = A.id AND B.price > 1000),
    (SELECT max(B.price) + 1 FROM bid B WHERE B.auction = A.id)
FROM auction A
WHERE A.category = 10;
