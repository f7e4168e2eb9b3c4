-- A value of two keys, one of them computed and sometimes NULL, in WHERE and beside columns.
CREATE TABLE scalar_keys (auction BIGINT, bidder BIGINT, price BIGINT, others BIGINT) WITH (${sink});

INSERT INTO scalar_keys
SELECT B.auction, B.bidder, B.price,
    (SELECT count(*) FROM bid C
        WHERE C.auction = B.auction AND nullif(C.channel, 'Google') = nullif(B.channel, 'Google'))
FROM bid B
WHERE B.auction % 7 = 0 AND B.price >= (SELECT max(C.price) FROM bid C WHERE C.auction = B.auction AND C.channel = B.channel);
