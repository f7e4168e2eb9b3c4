-- The second bid of each bidder, by its number, with who that is.
CREATE TABLE number_join (name VARCHAR, price BIGINT) WITH (${sink});

INSERT INTO number_join
SELECT P.name, N.price
FROM person P
JOIN (SELECT bidder, price, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY `dateTime`) AS rn FROM bid) N
ON N.bidder = P.id AND N.rn = 2;
