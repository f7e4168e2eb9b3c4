-- Functions in Python: one that is called per row, and one that is called per batch.
--
--   millrace run examples/python_functions.sql
--
-- The module is `python/bidding.py` beside this file. The second function needs pyarrow:
-- `--python-interpreter` names a Python that has it.
CREATE TABLE events (
    event_type INT,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, url STRING>
) WITH ('connector' = 'nexmark', 'number-of-events' = '${events:-100000}', 'seed' = '1');

CREATE FUNCTION channel (url STRING) RETURNS STRING
RETURNS NULL ON NULL INPUT
AS 'bidding.channel' LANGUAGE PYTHON WITH ('python.path' = 'python');

CREATE FUNCTION surprise (price BIGINT, bidder BIGINT) RETURNS DOUBLE
AS 'bidding.surprise' LANGUAGE PYTHON WITH (
    'python.path' = 'python',
    'mode' = 'vectorized',
    'timeout' = '5 s'
);

-- Computed once, since it has a name: in WHERE and in SELECT it would be two calls.
CREATE VIEW scored AS
SELECT bid.auction, bid.price, bid.url, surprise(bid.price, bid.bidder) AS score
FROM events
WHERE event_type = 2;

SELECT auction, price, channel(url) AS channel, ROUND(score, 3) AS score
FROM scored
WHERE score > 0.99;
