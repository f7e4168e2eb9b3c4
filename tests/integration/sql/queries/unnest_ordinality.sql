-- Arrays of a query, with places; two in one row give all their combinations.
CREATE TABLE unnest_ordinality (auction BIGINT, digit STRING, place BIGINT, kind INT) WITH (${sink});

INSERT INTO unnest_ordinality
SELECT b.auction, d.digit, d.place, kind
FROM bid b, UNNEST(SPLIT(CAST(b.price AS STRING), '')) WITH ORDINALITY AS d (digit, place),
     UNNEST(ARRAY[CAST(b.bidder % 2 AS INT), 7]) AS k (kind)
WHERE d.place < 3 AND b.auction % 5 = 0;
