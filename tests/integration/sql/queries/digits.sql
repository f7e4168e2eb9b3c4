-- Numbers in other bases.
CREATE TABLE digits (a VARCHAR, b VARCHAR) WITH (${sink});

INSERT INTO digits
SELECT hex(price), bin(price)
FROM bid WHERE price > 2000;
