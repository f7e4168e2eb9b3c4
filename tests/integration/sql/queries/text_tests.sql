CREATE TABLE text_tests (auction BIGINT, channel VARCHAR) WITH (${sink});

INSERT INTO text_tests
SELECT auction, channel
FROM bid
WHERE (channel LIKE 'channel-1%' AND channel NOT LIKE '%7') OR upper(channel) IN ('APPLE', 'BAIDU') AND price BETWEEN 1000 AND 2000;
