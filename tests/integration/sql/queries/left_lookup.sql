-- Rows without a partner stay, and a condition beside the key.
CREATE TABLE side_input (key BIGINT, `value` VARCHAR) WITH (
    'connector' = 'file', 'path' = '${side_input}', 'format' = 'csv',
    'lookup.full-cache.periodic-reload.interval' = '100 ms');

CREATE TABLE left_lookup (auction BIGINT, price BIGINT, `value` VARCHAR) WITH (${sink});

INSERT INTO left_lookup
SELECT B.auction, B.price, S.`value`
FROM bid B
LEFT JOIN side_input FOR SYSTEM_TIME AS OF PROCTIME() AS S
ON B.auction * 7 = S.key AND B.price > 100 * CHAR_LENGTH(S.`value`);
