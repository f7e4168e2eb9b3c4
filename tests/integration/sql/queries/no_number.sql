-- Rows that cannot be evaluated are left out, and no other.
CREATE TABLE no_number (auction BIGINT, price BIGINT, ratio BIGINT)
WITH (${sink});

INSERT INTO no_number
SELECT auction, price, price / MOD(bidder, 4) FROM bid;
