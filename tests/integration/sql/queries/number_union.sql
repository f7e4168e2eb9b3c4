-- Numbers without a limit in a UNION that drops what comes twice.
CREATE TABLE number_union (bidder BIGINT, rn BIGINT) WITH (${sink});

INSERT INTO number_union
SELECT bidder, row_number() OVER (PARTITION BY bidder ORDER BY `dateTime`) AS rn FROM bid
UNION
SELECT bidder, dense_rank() OVER (PARTITION BY bidder ORDER BY `dateTime`) AS rn FROM bid WHERE price > 1000;
