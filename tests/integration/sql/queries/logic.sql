-- NULLIF, COALESCE, GREATEST, LEAST, IN and CASE.
CREATE TABLE logic (auction BIGINT, a BIGINT, b BIGINT, c BIGINT, d VARCHAR) WITH (${sink});

INSERT INTO logic
SELECT auction, coalesce(nullif(price % 5, 0), -1), greatest(price, bidder, auction), least(price, bidder),
    CASE WHEN auction % 10 IN (1, 2, 3) THEN 'low' WHEN auction % 10 = 9 THEN NULL ELSE 'high' END
FROM bid WHERE NOT (price % 3 = 0 OR bidder % 4 IN (1, 2));
