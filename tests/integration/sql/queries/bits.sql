-- Bits of integers.
CREATE TABLE bits (auction BIGINT, a BIGINT, b BIGINT, c BIGINT, d BIGINT, e BIGINT, f BIGINT)
WITH (${sink});

INSERT INTO bits
SELECT auction, price & 255, price | bidder, price # bidder, ~price, price << 3, price >> 2
FROM bid;
