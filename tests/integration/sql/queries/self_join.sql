CREATE TABLE self_join (auction BIGINT, a BIGINT, b BIGINT) WITH (${sink});

INSERT INTO self_join
SELECT A.auction, A.bidder, B.bidder
FROM bid A JOIN bid B ON A.auction = B.auction AND A.bidder < B.bidder
WHERE A.price > 40000000 AND B.price > 40000000;
