-- State of every kind, in savepoints that later versions must be able to go on from.
SET 'pipeline.name' = 'kept';
SET 'execution.checkpointing.interval' = '200 ms';

CREATE TABLE nexmark (
    event_type INT,
    auction ROW<id BIGINT, category BIGINT, seller BIGINT, expires TIMESTAMP(3)>,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING>,
    `dateTime` TIMESTAMP(3),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '2' SECOND
) WITH ('connector' = 'nexmark', 'number-of-events' = '2000', 'seed' = '5', 'rate' = '100',
        'events-per-second' = '${rate}');

CREATE VIEW auction AS SELECT auction.id, auction.category, auction.seller, auction.expires, `dateTime`
FROM nexmark WHERE event_type = 1;
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, `dateTime`
FROM nexmark WHERE event_type = 2;

CREATE TABLE hops (auction BIGINT, endtime TIMESTAMP(3), n BIGINT, channels BIGINT, most BIGINT)
WITH ('connector' = 'file', 'path' = '${output}/hops', 'format' = 'json');
INSERT INTO hops SELECT auction, window_end, count(*), count(DISTINCT channel), max(price)
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;

CREATE TABLE sessions (bidder BIGINT, endtime TIMESTAMP(3), n BIGINT, channels BIGINT)
WITH ('connector' = 'file', 'path' = '${output}/sessions', 'format' = 'json');
INSERT INTO sessions SELECT bidder, window_end, count(*), count(DISTINCT channel)
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND))
GROUP BY bidder, window_start, window_end;

CREATE TABLE groups (channel STRING, n BIGINT, bidders BIGINT, average DECIMAL(38, 6))
WITH ('connector' = 'file', 'path' = '${output}/groups', 'format' = 'json');
INSERT INTO groups SELECT channel, count(*), count(DISTINCT bidder), avg(CAST(price AS DECIMAL(18, 2)))
FROM bid GROUP BY channel;

CREATE TABLE pairs (id BIGINT, category BIGINT, price BIGINT)
WITH ('connector' = 'file', 'path' = '${output}/pairs', 'format' = 'json');
INSERT INTO pairs SELECT A.id, A.category, B.price FROM auction A LEFT JOIN bid B ON A.id = B.auction AND B.price > 1000;

CREATE TABLE soon (id BIGINT, price BIGINT)
WITH ('connector' = 'file', 'path' = '${output}/soon', 'format' = 'json');
INSERT INTO soon SELECT A.id, B.price FROM auction A JOIN bid B ON A.id = B.auction
AND B.`dateTime` BETWEEN A.`dateTime` AND A.`dateTime` + INTERVAL '5' SECOND;

CREATE TABLE top (channel STRING, price BIGINT, auction BIGINT)
WITH ('connector' = 'file', 'path' = '${output}/top', 'format' = 'json');
INSERT INTO top SELECT channel, price, auction FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY channel ORDER BY price DESC, auction) AS rn FROM bid)
WHERE rn <= 3;

CREATE TABLE over_rows (auction BIGINT, price BIGINT, before BIGINT, total BIGINT)
WITH ('connector' = 'file', 'path' = '${output}/over_rows', 'format' = 'json');
INSERT INTO over_rows SELECT auction, price, LAG(price) OVER (PARTITION BY auction ORDER BY `dateTime`),
    sum(price) OVER (PARTITION BY auction ORDER BY `dateTime` ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
FROM bid;

CREATE VIEW last_of_channel AS SELECT channel, price, `dateTime` FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY channel ORDER BY `dateTime` DESC) AS rn FROM bid) WHERE rn = 1;
CREATE TABLE as_of (id BIGINT, price BIGINT)
WITH ('connector' = 'file', 'path' = '${output}/as_of', 'format' = 'json');
INSERT INTO as_of SELECT A.id, C.price FROM auction A JOIN last_of_channel FOR SYSTEM_TIME AS OF A.`dateTime` AS C
ON C.channel = CASE MOD(A.id, 2) WHEN 0 THEN 'Google' ELSE 'Apple' END;
