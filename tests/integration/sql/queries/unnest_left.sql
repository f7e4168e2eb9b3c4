-- Rows without elements stay with LEFT JOIN.
CREATE TABLE unnest_left (auction BIGINT, price BIGINT, other BIGINT) WITH (${sink});

INSERT INTO unnest_left
SELECT auction, price, other
FROM bid LEFT JOIN UNNEST(ARRAY_REMOVE(ARRAY[price % 3, auction % 3], 0)) AS o (other) ON TRUE
WHERE bidder % 7 = 0;
