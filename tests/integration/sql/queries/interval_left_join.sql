CREATE TABLE interval_left_join (id BIGINT, bidder BIGINT) WITH (${sink});

INSERT INTO interval_left_join
SELECT A.id, B.bidder
FROM auction AS A LEFT JOIN bid AS B
    ON A.id = B.auction AND B.price > 1000000
    AND B.`dateTime` BETWEEN A.`dateTime` AND A.`dateTime` + INTERVAL '1' SECOND;
