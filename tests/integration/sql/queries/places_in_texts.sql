-- Where texts are in texts, and texts padded, cut and put together.
CREATE TABLE places_in_texts (auction BIGINT, a INT, b INT, c BOOLEAN, d BOOLEAN, e INT, f VARCHAR, g VARCHAR, h VARCHAR, i VARCHAR, j VARCHAR,
    k VARCHAR, l VARCHAR, m INT, n VARCHAR)
WITH (${sink});

INSERT INTO places_in_texts
SELECT auction, STRPOS(url, '/'), POSITION('.' IN url), STARTSWITH(channel, 'G'), ENDSWITH(channel, 'e'), ASCII(channel),
    CHR(65 + MOD(bidder, 26)), LPAD(channel, 12, '*-'), RPAD(channel, 3, '.'), REPEAT(channel, 2), LTRIM(channel, 'Gc'),
    RTRIM(channel, 'ek'), CONCAT(channel, '-', channel), OCTET_LENGTH(url),
    CONCAT_WS('/', channel, NULLIF(channel, 'Google'), 'x')
FROM bid;
