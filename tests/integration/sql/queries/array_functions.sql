-- Functions of arrays, and arrays as results.
CREATE TABLE array_functions (
    auction BIGINT, second STRING, words INT, has_com BOOLEAN, place INT, joined STRING, least BIGINT,
    greatest BIGINT, sorted ARRAY<BIGINT>, without ARRAY<BIGINT>, twice ARRAY<STRING>) WITH (${sink});

INSERT INTO array_functions
SELECT auction, (SPLIT(url, '/'))[3], CARDINALITY(SPLIT(url, '/')),
       ARRAY_CONTAINS(SPLIT(url, '/'), 'www.nexmark.com'), ARRAY_POSITION(SPLIT(url, '.'), 'nexmark'),
       ARRAY_JOIN(ARRAY_DISTINCT(ARRAY[auction % 3, bidder % 3, NULL]), '-', 'none'),
       ARRAY_MIN(ARRAY[auction, bidder, price]), ARRAY_MAX(ARRAY[auction, bidder, price]),
       ARRAY_SORT(ARRAY[price, auction, NULL, bidder]),
       ARRAY_REMOVE(ARRAY_REVERSE(ARRAY[price, auction, 1]), auction),
       ARRAY_CONCAT(ARRAY[channel], ARRAY[channel, NULL])
FROM bid WHERE price > 5000;
