-- The dearest bids of all.
CREATE TABLE dearest_rows (auction BIGINT, bidder BIGINT, price BIGINT) WITH (${sink});

INSERT INTO dearest_rows
SELECT auction, bidder, price FROM bid ORDER BY price DESC, auction, bidder LIMIT 10;
