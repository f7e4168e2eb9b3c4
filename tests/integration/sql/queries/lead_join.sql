-- How long each bid was the newest of its auction, where the auction is known and another bid came.
CREATE TABLE lead_join (category BIGINT, bids BIGINT, soonest BIGINT, latest BIGINT) WITH (${sink});

INSERT INTO lead_join
SELECT A.category, count(*), min(N.next_price), max(N.price)
FROM auction A
JOIN (SELECT auction, price, lead(price) OVER (PARTITION BY auction ORDER BY `dateTime`) AS next_price FROM bid) N
ON N.auction = A.id
WHERE N.next_price IS NOT NULL
GROUP BY A.category;
