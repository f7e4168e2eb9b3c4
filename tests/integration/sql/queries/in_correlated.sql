CREATE TABLE in_correlated (auction BIGINT, bidder BIGINT, price BIGINT) WITH (${sink});

INSERT INTO in_correlated
SELECT B.auction, B.bidder, B.price
FROM bid B
WHERE B.auction IN (
    SELECT A.id FROM auction A WHERE A.category = 10 + MOD(B.bidder, 5) AND A.initialBid < B.price);
