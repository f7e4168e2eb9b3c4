-- Of FULL, the common column is that of the side which is there.
CREATE TABLE using_full (seller BIGINT, id BIGINT, price BIGINT) WITH (${sink});

INSERT INTO using_full
SELECT seller, id, price
FROM (SELECT id, seller FROM auction WHERE category = 11) A
FULL JOIN (SELECT bidder AS seller, price FROM bid WHERE price > 50000000) B USING (seller);
