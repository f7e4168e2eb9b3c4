CREATE TABLE full_join (person BIGINT, bidder BIGINT, price BIGINT) WITH (${sink});

INSERT INTO full_join
SELECT P.id, B.bidder, B.price
FROM person AS P FULL JOIN (SELECT bidder, price FROM bid WHERE price > 9000000) AS B
    ON P.id = B.bidder;
