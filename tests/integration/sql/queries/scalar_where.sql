CREATE TABLE scalar_where (auction BIGINT, price BIGINT) WITH (${sink});

INSERT INTO scalar_where
SELECT B.auction, B.price
FROM bid B
WHERE B.price > 20 * (SELECT avg(A.initialBid) FROM auction A WHERE A.id = B.auction)
    AND B.auction < (SELECT max(id) - 100 FROM auction) AND B.channel <> 'Google';
