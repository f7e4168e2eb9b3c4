-- Bids within two seconds before and after an auction of their bidder.
CREATE TABLE interval_join (id BIGINT, auction BIGINT, price BIGINT) WITH (${sink});

INSERT INTO interval_join
SELECT A.id, B.auction, B.price
FROM auction A JOIN bid B
ON A.seller = B.bidder AND B.`dateTime` BETWEEN A.`dateTime` - INTERVAL '2' SECOND AND A.`dateTime` + INTERVAL '2' SECOND
WHERE B.price > A.initialBid;
