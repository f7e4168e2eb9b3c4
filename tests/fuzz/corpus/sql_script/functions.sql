CREATE FUNCTION vat (net DECIMAL(20, 2)) RETURNS DECIMAL(30, 4) RETURN net * 1.19;
CREATE FUNCTION bill (price BIGINT, "Fee" DECIMAL(10, 2)) RETURNS DECIMAL(32, 4)
LANGUAGE SQL IMMUTABLE RETURN vat(price + "Fee") + 0;
CREATE TABLE bid (auction BIGINT, bidder BIGINT, price INT, note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'kafka', 'topic' = 'b', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); CREATE TABLE item (id BIGINT, name STRING, seller ROW<id BIGINT, city STRING>, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'kafka', 'topic' = 'i', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); CREATE TABLE out (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO out SELECT auction, bill(b.price, 1.50) AS bill FROM bid b WHERE VAT(price) > 10;
