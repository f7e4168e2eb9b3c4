-- Every fifth bid of a bidder: a number in the order of event time needs no limit.
CREATE VIEW numbered_bid AS
SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY `dateTime`) AS rn FROM bid;

CREATE TABLE number_filter (bidder BIGINT, price BIGINT, rn BIGINT) WITH (${sink});

INSERT INTO number_filter
SELECT bidder, price, rn FROM numbered_bid WHERE rn % 5 = 0 AND price > 100;
